"""The HTTP edge and the command line: parse, authenticate, translate, render. No rule of money or routing."""
