"""Campaign content: templates and MIME compiled into segments and slots."""
