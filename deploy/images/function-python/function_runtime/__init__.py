"""Runs one function behind HTTP: the server inside of an instance.

The first process is the supervisor: it starts and reaps the others, and runs no thread and no code of the function. The server
process speaks HTTP, with a thread for each connection. Workers are processes that have loaded the function, one call at a
time each: a call that hangs, even in C, is ended by killing its process, and delays nobody; code need not be thread-safe.

Modules are imported where they are needed if they are slow to import: a cold call waits for this program's start.
"""
