"""From a LiteLLM proxy's `config.yaml` to a `farthing.toml` of the same meaning.

`source` reads the file and knows which of its settings were used; `deployments`, `routes` and `settings` each use what
they have an equivalent for; what is left over then is written as comments, with a reason where there is one. So nothing
can be dropped silently: a setting that no code here knows is left over by itself.
"""

from service.litellm.source import Source, Unreadable, read_source
from service.litellm.translation import Translation, translate

__all__ = ["Source", "Translation", "Unreadable", "read_source", "translate"]
