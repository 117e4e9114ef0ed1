"""What readers and writers share: containers, checksums, atomic outputs."""
