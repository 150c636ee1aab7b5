"""The provider ``uv``: CPythons that uv downloads and installs, for Linux and for Windows."""
