"""iCalendar files (RFC 5545) as change windows: strict where a doubt could open one, bounded in time and memory."""
