"""The process that reads one HDF5 file with h5py; `converters.formats.hdf5.library` starts it."""
