"""What `make stress` does to the library: damaged images, kills, full disks, crowded caches, files from strangers.

Each module holds one kind of trouble, in a function that takes how much of it and gives back figures. The tests call
it with little, `python -m stress` with much, and prints the figures.
"""
