"""`python -m qwen_gateway` is the command `qwen-gateway`."""

from qwen_gateway.cli import main

if __name__ == "__main__":
    main()
