"""The steps of board/build, one file each."""
