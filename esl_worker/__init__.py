"""gevent processes that carry conversations on FreeSWITCH calls, and the embedded switch."""
