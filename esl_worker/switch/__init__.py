"""The embedded switch: the switch's side of the event socket, for trying, testing and loading."""
