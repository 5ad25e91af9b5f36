template
get
