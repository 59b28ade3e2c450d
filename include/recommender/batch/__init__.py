"""Recommend to everyone at once: who is asked for, what is left out, how the lists are stored."""
