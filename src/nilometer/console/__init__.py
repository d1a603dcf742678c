"""The console: one web application that shows a stack, from live events to money. Server-rendered, no build step."""
