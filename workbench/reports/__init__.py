"""What an audit leaves behind: records, figures, tables, one HTML file."""
