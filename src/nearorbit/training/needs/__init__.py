"""What a method may be given beside the observed states of a segment; a file each."""
