"""Files of other tools, which are not read here: recognised, to say what they are and what to do with them."""
