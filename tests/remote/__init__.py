"""Files on web servers, in object stores and on the Hub, all of them on loopback."""
