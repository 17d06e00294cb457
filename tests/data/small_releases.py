"""Small releases in every layout, and the ratings.csv each must give."""

from __future__ import annotations

Files = dict[str, bytes]

# Items 1 and 4 are one film; item 3 has neither year nor genre; item 2 is not ASCII.
HUNDRED_K: Files = {
    "u.data": b"1\t1\t4\t10\n10\t2\t3\t20\n1\t4\t5\t30\n2\t3\t1\t40\n",
    "u.item": "1|Toy Story (1995)|01-Jan-1995||url|0|1|1\n"
    "2|Misérables, Les (1995)|01-Jan-1995||url|0|1|0\n"
    "3|unknown||||1|0|0\n"
    "4|Toy Story (1995) |01-Jan-1995||url|0|0|1\n".encode("latin-1"),
    "u.genre": b"unknown|0\nAction|1\nComedy|2\n\n",
    "u.user": b"1|24|M|technician|85711\n2|53|F|other|01002\n10|7|M|student|T8H1N\n",
    "u1.base": b"1\t1\t4\t10\n2\t3\t1\t40\n",
    "u1.test": b"10\t2\t3\t20\n1\t4\t5\t30\n",
}
HUNDRED_K_CSV = """\
user_id,movie_title,user_rating,timestamp,genres,release_year,user_age,user_gender,user_occupation,user_zip_code
1,Toy Story (1995),4.5,30,Action|Comedy,1995,24,M,technician,85711
10,"Misérables, Les (1995)",3,20,Action,1995,7,M,student,T8H1N
2,unknown,1,40,,,53,F,other,01002
"""
RECBOLE: Files = {
    "ml-100k.inter": b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + HUNDRED_K["u.data"],
    "ml-100k.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "1\tToy Story\t1995\tAction Comedy\n2\tMisérables, Les\t1995\tAction\n"
    "3\tunkonwn\tunkonwn\tunknown\n4\tToy Story\t1995\tComedy\n".encode(),
    "ml-100k.user": b"user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    b"1\t24\tM\ttechnician\t85711\n2\t53\tF\tother\t01002\n10\t7\tM\tstudent\tT8H1N\n",
}
ONE_M: Files = {
    "ratings.dat": b"1::1::5::978300760\n2::2::3::978302109\n10::2::4::5\n",
    "movies.dat": "1::2001: A Space Odyssey (1968)::Drama|Sci-Fi\n2::Misérables, Les (1995)::Drama\n".encode("latin-1"),
    "users.dat": b"1::F::1::10::48067\n2::M::56::16::70072-1234\n10::M::25::15::55117\n",
}
ONE_M_CSV = """\
user_id,movie_title,user_rating,timestamp,genres,release_year,user_age,user_gender,user_occupation,user_zip_code
1,2001: A Space Odyssey (1968),5,978300760,Drama|Sci-Fi,1968,1,F,10,48067
10,"Misérables, Les (1995)",4,5,Drama,1995,25,M,15,55117
2,"Misérables, Les (1995)",3,978302109,Drama,1995,56,M,16,70072-1234
"""
TEN_M: Files = {
    "ratings.dat": b"1::1::0.5::978300760\n2::2::3.5::978302109\n",
    "movies.dat": "1::2001: A Space Odyssey (1968)::Drama|Sci-Fi\n2::Misérables, Les (1995)::Drama\n".encode(),
}
TEN_M_CSV = """\
user_id,movie_title,user_rating,timestamp,genres,release_year
1,2001: A Space Odyssey (1968),0.5,978300760,Drama|Sci-Fi,1968
2,"Misérables, Les (1995)",3.5,978302109,Drama,1995
"""
CSV: Files = {
    "ratings.csv": b"userId,movieId,rating,timestamp\r\n1,1,0.5,10\r\n2,2,3.5,20\r\n1,7,5.0,30\r\n",
    "movies.csv": 'movieId,title,genres\n1,"Misérables, Les (1995)",Drama\n'
    '2,"""Great Performances"" Cats (1998)",Musical|Drama\n'
    "7,Babylon 5,(no genres listed)\n9,Unrated (2001),Drama\n".encode(),
}
CSV_CSV = """\
user_id,movie_title,user_rating,timestamp,genres,release_year
1,Babylon 5,5,30,,
1,"Misérables, Les (1995)",0.5,10,Drama,1995
2,\"\"\"Great Performances\"\" Cats (1998)\",3.5,20,Musical|Drama,1998
"""

# Layout: files, and the ratings.csv they give, worked out by hand.
LAYOUTS: dict[str, tuple[Files, str]] = {
    "100K": (HUNDRED_K, HUNDRED_K_CSV),
    "RecBole": (RECBOLE, HUNDRED_K_CSV),
    "1M": (ONE_M, ONE_M_CSV),
    "10M": (TEN_M, TEN_M_CSV),
    "csv": (CSV, CSV_CSV),
}
OWN_NAMES = "user_id,movie_title,user_rating\n"
