"""The file formats: a folder for each, with its reader and its writer."""
