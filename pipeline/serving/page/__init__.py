"""The page of the server: what a pushed model says, for people."""
