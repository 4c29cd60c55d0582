"""What outlives the process. Plain files so far: one journal of chats to delete."""
