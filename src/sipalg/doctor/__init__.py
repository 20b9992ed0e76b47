"""What stands in the way of SIP on this router: facts gathered, judged by pure functions, said in one line each."""
