"""The demo: real messages through real worker processes, one of them killed, and two sets of books that must agree."""
