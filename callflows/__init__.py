"""The conversations: what is said, asked and decided. No sockets, no SQL, no Redis."""
