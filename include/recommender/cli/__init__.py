"""Look at published models, and move the champion, from a terminal: the command ``recsys``.

One module for each group of commands; each has ``register``, and ``__main__`` lists them.
"""
