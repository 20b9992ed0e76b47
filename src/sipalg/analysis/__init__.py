"""What a message or a capture says, for people: before and after, each edit with its rule."""
