"""The head of a photo in motion: its shape, how its pixels move, its eyelids, and what to do while the audio runs."""
