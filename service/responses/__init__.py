"""OpenAI's wire format for responses: `POST /v1/responses`.

`wire` is the endpoint, `body` puts a request in a chat completion's shape, `items` makes a response's items of what a
model says, `told` tells those that are whole, `answer` makes the response of them, and `events` tells it as it comes.
"""
