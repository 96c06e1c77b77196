"""The parts of Scripts/tidy.py: how sources are read, and the rules."""
