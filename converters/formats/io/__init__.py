"""What readers and writers share: containers, checksums, outputs that appear whole or not at all."""
