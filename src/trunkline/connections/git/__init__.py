"""Plain git repositories under one base URL: their branches and tags are polled; there are no changes."""
