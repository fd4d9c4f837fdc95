"""The page: Talk, Re-dub and Sync in a browser. The only part that knows Gradio and its web server.

A request comes through the gate (``gate``), which knows whose files are whose; Gradio shows the tabs (``page`` and one
file a tab); what they start runs in a process of its own (``work``, ``tasks``) inside the private folder (``private``).
"""
