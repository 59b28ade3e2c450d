"""Choose a setting on the validation window, fit everything on all fit rows."""
