"""GPU servers of a cloud that run while there is work: woken before it, shelved when they have been idle."""
