"""The provider ``directory``: interpreters in directories that the user names."""
