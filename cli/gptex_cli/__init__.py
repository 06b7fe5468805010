"""The `gptex` command: thin modules that parse, call gptex and print."""
