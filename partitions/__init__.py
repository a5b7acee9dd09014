"""What one unit of work is: a feed's episodes, and the keys they are known by."""
