"""From a registered model to scores and lists, on request and in batch. Never imports training."""
