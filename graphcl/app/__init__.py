"""The command line: generic over methods and tasks, which it knows only through their tables."""
