template
notify
