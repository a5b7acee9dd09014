"""The sample show: a feed with its audio, a server for it, and what is truly said in it."""
