"""The video libraries, one file each; nothing else but `encode.py` imports one."""
