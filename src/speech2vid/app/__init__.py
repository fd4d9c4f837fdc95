"""Servers: the page in the browser, and the endpoint for programs. The only part that knows Gradio and web servers.

The page: a request comes through the gate (``gate``), which knows whose files are whose; Gradio shows the tabs
(``page`` and one file a tab); what they start runs in a process of its own (``work``, ``tasks``) inside the private
folder (``private``). The endpoint: ``endpoint``, ``live``, ``serving``.
"""
