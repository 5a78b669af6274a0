"""From saved policies and recorded files to tables, figures and a report."""
