"""Files inside of other files: members of tar archives on disk or at a URL, and rows of Arrow files.

Such a file has a path like any other, ``shards/train-000000.tar/cat 1.jpg``, and is read by `vertebra.shards.members`.
"""
