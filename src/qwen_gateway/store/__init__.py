"""What outlives the process: a database of accounts, keys and figures, and a journal of chats to delete."""
