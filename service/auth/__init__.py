"""Who asks: API keys from their making to the caller that each request is answered as."""
