"""The pages: server-rendered, whole without scripts, their state in the URL, their figures from the query layer."""
