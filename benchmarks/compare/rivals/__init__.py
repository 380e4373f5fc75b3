"""The rivals, each a program that sends the list of a folder as its users would tune it."""
