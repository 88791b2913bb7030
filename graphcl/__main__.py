"""`python -m graphcl` is the command `graphcl`."""

from graphcl.app.main import main

if __name__ == "__main__":
    main()
