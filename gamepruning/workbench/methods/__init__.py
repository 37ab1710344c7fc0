"""The methods by name: what each can be asked and how it chooses."""
