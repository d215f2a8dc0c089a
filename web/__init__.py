"""Pages and HTTP end points for subscribers, the payment system and operations."""
